//! Adapters to what is mirrored: any smart-HTTP host, or a folder of bare repositories.
