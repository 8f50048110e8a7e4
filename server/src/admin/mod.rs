//! The admin port: status, and the API that the command line speaks.
