"""A seeded, bounded fuzz run over everything that a stranger may hand us; tools/fuzz.py is its command line.

A parent process imports the package once and forks a child per case (`runner`, `child`). A case writes its files into a
folder of its own and runs a command line there (`case`); the files are honest ones (`seeds`) made wrong (`mutate`) by
one module per kind of input. How it ended is judged by rules that are the same for all (`judge`).
"""
