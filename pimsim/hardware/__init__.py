"""Chips as frozen records: components, presets, YAML loading and cost laws."""
