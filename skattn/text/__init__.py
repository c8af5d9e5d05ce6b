"""Turn texts into the codes that nets read, and back."""

from skattn.text._token_encoder import TokenEncoder

__all__ = ["TokenEncoder"]
