"""Keys, sealed messages and the pairing exchange; random bytes are always arguments."""
