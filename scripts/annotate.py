"""Put numbers onto the pictures of the demonstration's record, for docs/reading.md.

    python scripts/annotate.py

The places are of the pictures in docs/images as they are; after a new demonstration look at the result.
"""

from pathlib import Path

import matplotlib.image
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"
PLACES = {  # in shares of width and height, from the top left corner
    "demo_hardness.png": [
        (0.10, 0.20),
        (0.44, 0.275),
        (0.975, 0.082),
        (0.24, 0.705),
        (0.22, 0.895),
        (0.155, 0.555),
        (0.958, 0.553),
        (0.60, 0.757),
    ],
    "demo_structures.png": [(0.04, 0.178), (0.857, 0.60), (0.395, 0.293), (0.03, 0.255)],
}


def main() -> None:
    for name, places in PLACES.items():
        image = matplotlib.image.imread(IMAGES / name)
        height, width = image.shape[:2]
        figure = Figure(figsize=(width / 90, height / 90), dpi=90)
        FigureCanvasAgg(figure)
        figure.figimage(image)
        for number, (x, y) in enumerate(places, 1):
            figure.text(
                x,
                1 - y,
                str(number),
                color="white",
                weight="bold",
                fontsize=13,
                ha="center",
                va="center",
                bbox={"boxstyle": "circle,pad=0.25", "facecolor": "black", "edgecolor": "white", "linewidth": 1.5},
            )
        figure.savefig(IMAGES / name.replace("demo_", "marked_"), dpi=90)


if __name__ == "__main__":
    main()
