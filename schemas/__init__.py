"""Contracts: what is read from and written to topics. Pydantic models are the source; `json/` is generated."""
