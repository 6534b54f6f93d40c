"""Pure core: no I/O, no clock, no logging; what serving, replay and training share."""
