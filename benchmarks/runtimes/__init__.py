"""Agents of each runtime on a model that answers at once, with and without a manager of their history."""
