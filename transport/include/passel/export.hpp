// Layer transport: which symbols the shared library shows.
#pragma once

/// Marks what users of the shared library may link against; everything else stays hidden.
#define PASSEL_API __attribute__((visibility("default")))
