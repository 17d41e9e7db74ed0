"""Pictures of the hard cases: three slices of each, with contours, on one HTML page."""

from hws_nnunet.gallery.layout import Layout, find_layout
from hws_nnunet.gallery.make import make_gallery

__all__ = ["Layout", "find_layout", "make_gallery"]
