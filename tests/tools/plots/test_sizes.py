import matplotlib.pyplot as plt
import pandas as pd

from tools.plots.sizes import draw_size


def losses(*settings: str) -> pd.DataFrame:
    lines = [(s, seed, 0.1 + 0.01 * seed, 0.08, 0.2) for s in settings for seed in range(3)]
    return pd.DataFrame(lines, columns=["setting", "seed", "value", "low", "high"])


def test_draw_size_has_a_tick_for_every_size_of_every_curve() -> None:
    _, ax = plt.subplots()
    draw_size(ax, losses("12", "6"), "C0")
    draw_size(ax, losses("6", "24"), "C0", filled=False)

    assert [label.get_text() for label in ax.get_xticklabels()] == ["6", "12", "24"]
    assert ax.get_xscale() == ax.get_yscale() == "log"
    plt.close()
