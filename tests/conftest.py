"""Loaded before any test module: hypothesis reads its profile when tests are defined."""

from tests.support.examples import register_profiles

register_profiles()
