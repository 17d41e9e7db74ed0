"""The commands ``hws-nnunet prepare ...``: one file a family of data sets."""
