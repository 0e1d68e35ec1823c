"""Pages: what stands in them can be written."""

from edgeailite.drawing.html import template


def test_a_page_holds_no_half_of_a_surrogate_pair():
    page = template("complexity_all.html").environment.from_string("{{ text }} {{ count }}")
    assert page.render(text="a\ud800<b", count=3) == "a\\ud800&lt;b 3"
