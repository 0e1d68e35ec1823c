"""Labels pictures over HTTP: Flask under waitress, a bounded number of workers, a web page, and an orderly end.

It knows no files and no networks: what it serves is a function from picture to class indices, with names and colours.
Nothing is imported here, so that `served` and `gate` can be had where flask and waitress are not installed.
"""
