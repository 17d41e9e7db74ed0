"""Leads nnU-Net v1 to the trainers of hws-nnunet. Written by ``hws-nnunet register``, removed by ``unregister``.

nnU-Net imports this module whenever it looks for a trainer: nothing is imported until one of these names is asked for.
"""

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
        raise AttributeError(name)
    try:
        if name in _DEMO:
            from hws_nnunet.nnunetv1 import demo_trainers as trainers
        else:
            from hws_nnunet.nnunetv1 import trainer as trainers
    except Exception as error:
        raise ImportError(
            f"{name} needs hws-nnunet, which cannot be imported ({type(error).__name__}: {error}). "
            f"Install it in this environment (pip install 'hws-nnunet[v1]'), or remove {__file__}"
        ) from error
    return getattr(trainers, name)
