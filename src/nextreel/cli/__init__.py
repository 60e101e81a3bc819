"""The command line: each command reads its options, calls one function of the rooms below and prints what came."""
