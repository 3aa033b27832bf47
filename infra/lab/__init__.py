"""The lab: a whole cluster on one host, of processes and virtual machines that the lab owns.

Law: everything here listens on 127.0.0.1 only, every secret lies in a folder that only its owner may enter and never in
an argument list, and every process ends with the one that started it. Only the machine provider and the addresses
differ from production; no decision of the rollout is taken here.
"""
