//! Heliostat.
