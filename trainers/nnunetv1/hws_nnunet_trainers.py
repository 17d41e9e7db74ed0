"""Leads nnU-Net v1 to the trainers of hws-nnunet. Written by ``hws-nnunet register``, removed by ``unregister``.

nnU-Net imports this module whenever it looks for a trainer: nothing is imported until one of these names is asked for.
"""

import difflib
import sys

_TRAINERS = (
    "HardnessWeightedTrainer",
    "HardnessWeightedTrainerCascadeFullRes",
    "HardnessWeightedTrainer_5epochs",
    "HardnessWeightedTrainer_50epochs",
    "HardnessWeightedTrainer_250epochs",
)
_DEMO = ("HardnessWeightedTrainer_demo", "nnUNetTrainerV2_demo")


def __getattr__(name):
    if name not in _TRAINERS + _DEMO:
        if difflib.get_close_matches(name, _TRAINERS, 1, 0.7):
            _tell_last(f"hws-nnunet has no trainer {name}; it has {', '.join(_TRAINERS)}")
        raise AttributeError(name)
    try:
        if name in _DEMO:
            from hws_nnunet.nnunetv1 import demo_trainers as trainers
        else:
            from hws_nnunet.nnunetv1 import trainer as trainers
    except Exception as error:
        raise ImportError(
            f"{name} needs hws-nnunet, which cannot be imported ({type(error).__name__}: {error}). "
            f"Install it in this environment (pip install 'hws-nnunet[nnunetv1]'), or remove {__file__}"
        ) from error
    return getattr(trainers, name)


def _tell_last(text):
    """Have Python print a line below the error in which nnU-Net says that it finds no such trainer."""
    before = sys.excepthook

    def tell(kind, error, traceback):
        before(kind, error, traceback)
        if "trainer" in str(error):
            print(text, file=sys.stderr)

    sys.excepthook = tell
