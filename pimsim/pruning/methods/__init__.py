"""Pruning methods that set weights to zero, one file each; `pimsim.pruning.registry` lists them by name.

A method is a frozen dataclass: its fields are its options, and :meth:`MaskMethod.projection` scores a network once
and gives the projection that turns weights into masks.
"""
