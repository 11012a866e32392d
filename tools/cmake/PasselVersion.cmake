# Makes <passel/version.hpp> from the version in project(): the one place where the number stands.

set(PASSEL_GENERATED_DIR "${PROJECT_BINARY_DIR}/generated/include")
configure_file("${CMAKE_CURRENT_LIST_DIR}/version.hpp.in" "${PASSEL_GENERATED_DIR}/passel/version.hpp" @ONLY)
set_property(GLOBAL APPEND PROPERTY PASSEL_HEADERS "${PASSEL_GENERATED_DIR}/passel/version.hpp")
set_property(GLOBAL APPEND PROPERTY PASSEL_HEADER_DIRS "${PASSEL_GENERATED_DIR}")
