"""Small networks written from their papers, as somebody without this package would write them."""
