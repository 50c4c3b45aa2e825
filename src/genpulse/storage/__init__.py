"""Files: object storage and signed URLs."""

from genpulse.storage.object_storage import ObjectStorage
from genpulse.storage.signing import UrlSigner, load_secret

__all__ = ["ObjectStorage", "UrlSigner", "load_secret"]
