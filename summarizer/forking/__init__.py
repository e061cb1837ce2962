"""Forks: a conversation that begins with a part of another, and the tree that they make.

In comes a place in a conversation; out goes the root of a new one, made by one write of the store.
Never here: what a model sees of a fork, or a change to the conversation that is forked.
"""

from .forker import Forker
from .places import Place
from .tree import SessionNode, tree_of

__all__ = ["Forker", "Place", "SessionNode", "tree_of"]
