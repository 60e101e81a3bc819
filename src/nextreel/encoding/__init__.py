"""Encoders fitted on the training part alone and frozen from then on; saved as JSON and npz."""
