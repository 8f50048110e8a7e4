//! One glommio executor per core, and what crosses between them.
