"""Simulated venues: servers on loopback that speak the real protocols of both, with labelled happenings."""
