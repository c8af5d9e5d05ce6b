"""The one engine under all facades: samples in, a trained skorch net out."""
