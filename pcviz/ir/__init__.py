"""The symbolic circuit: node vectors, input distributions, structural checks."""
