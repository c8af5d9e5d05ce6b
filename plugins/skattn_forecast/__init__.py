"""Forecasting with attention: patches, variates, covariates of the future."""
