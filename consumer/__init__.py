"""The Ebbtide service: shop events in, retention alerts out."""
