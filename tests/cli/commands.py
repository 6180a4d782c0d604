"""The command line as the tests call it."""

from pinntk.cli import main

SMALL = ["--width", "6", "--depth", "1", "--quiet", "--points", "boundary=4,residual=6"]  # of a training


def run(capsys, *arguments):
    status = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return status, captured.out, captured.err
