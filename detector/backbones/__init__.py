"""Backbones: what turns a batch of images into a feature pyramid."""
