"""The version of this Penstock, as manifests record it."""

VERSION = "0.1.0"
