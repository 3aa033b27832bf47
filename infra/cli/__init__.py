"""The command line `sealwave`: parses, calls, prints, and says by its exit status how it went.

Law: nothing is decided here. Each file holds one group of commands; `__main__` names them and turns errors into one
sentence and a status.
"""
