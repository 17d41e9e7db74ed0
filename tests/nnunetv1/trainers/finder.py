"""Copied into nnU-Net v1's trainer folder while its tests run: leads to the trainers of a few steps."""


def __getattr__(name):
    if not name.startswith("Short"):
        raise AttributeError(name)
    import short_trainers_v1  # on PYTHONPATH in the tests alone

    return getattr(short_trainers_v1, name)
