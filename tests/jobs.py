"""A job that processes of their own run; they import no more than this."""

import math


def square_root(job):
    return {"root": math.sqrt(job["value"])}
