"""The book as a program: run its chapters, check them, show their results.

Chapters import it, and a chapter opened by hand then computes on one thread, as the runner lets it:
its numbers repeat, and no core is burnt by threads that wait.
"""

import sys

if "torch" in sys.modules:
    import torch

    torch.set_num_threads(1)
