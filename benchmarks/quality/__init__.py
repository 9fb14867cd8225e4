"""The parts of the quality benchmark: who writes how, what it cost, and how good it was."""
