"""Fused training of classifiers: the steps of one member, and their use for a stack."""
