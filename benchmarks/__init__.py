"""Measurements of the parts that grow with an image or with a fleet.

Law: a figure is the best of several runs on this machine, with the machine's description beside it; nothing here
decides anything. `make bench` prints the figures and writes them to build/bench/report.json.
"""
