# passel_module(NAME [DEPENDS layer...] [HEADERS file...] [SOURCES file...] [LINK target...])
#
# One layer of the library as an OBJECT library. It sees its own include/ and src/ and the include/ of the layers it
# names in DEPENDS, so an include upwards does not compile. PasselLibrary.cmake puts all layers into one library.

include(PasselVersion)

add_library(passel_options INTERFACE)
target_compile_features(passel_options INTERFACE cxx_std_20)
target_compile_options(passel_options INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wnon-virtual-dtor -Woverloaded-virtual)
# g++ 12 raises these falsely for std::variant and std::string once it optimises.
target_compile_options(passel_options INTERFACE
  "$<$<AND:$<CXX_COMPILER_ID:GNU>,$<NOT:$<CONFIG:Debug>>>:-Wno-maybe-uninitialized;-Wno-restrict>")
if(PASSEL_WERROR)
  target_compile_options(passel_options INTERFACE -Werror)
endif()
if(PASSEL_SANITIZE)
  target_compile_options(passel_options INTERFACE -fsanitize=${PASSEL_SANITIZE} -fno-omit-frame-pointer)
  target_link_options(passel_options INTERFACE -fsanitize=${PASSEL_SANITIZE})
  if(PASSEL_SANITIZE STREQUAL "thread")
    # Fences order our own words only, which are atomic; the sanitizer sees those, though not the fences.
    target_compile_options(passel_options INTERFACE -Wno-tsan)
  endif()
endif()

find_program(PASSEL_CCACHE ccache)
if(PASSEL_CCACHE AND PROJECT_IS_TOP_LEVEL)
  set(CMAKE_CXX_COMPILER_LAUNCHER "${PASSEL_CCACHE}")
endif()
find_program(PASSEL_MOLD mold)
if(PASSEL_MOLD AND PROJECT_IS_TOP_LEVEL)
  add_link_options(-fuse-ld=mold)
endif()

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_CXX_VISIBILITY_PRESET hidden)
set(CMAKE_VISIBILITY_INLINES_HIDDEN ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)

function(passel_module name)
  cmake_parse_arguments(arg "" "" "DEPENDS;HEADERS;SOURCES;LINK" ${ARGN})
  set(target passel_${name})
  add_library(${target} OBJECT ${arg_SOURCES})
  target_include_directories(${target}
    PUBLIC "$<BUILD_INTERFACE:${CMAKE_CURRENT_SOURCE_DIR}/include>"
           "$<BUILD_INTERFACE:${PASSEL_GENERATED_DIR}>"
    PRIVATE "${CMAKE_CURRENT_SOURCE_DIR}/src" "${CMAKE_CURRENT_BINARY_DIR}")
  target_compile_definitions(${target} PRIVATE PASSEL_BUILDING)
  target_link_libraries(${target} PRIVATE passel_options Threads::Threads ${arg_LINK})
  if(PASSEL_SANITIZE MATCHES "undefined" AND "CAF::core" IN_LIST arg_LINK)
    target_compile_options(${target} PRIVATE -fno-sanitize=null)  # CAF's own headers bind null references
  endif()
  foreach(layer IN LISTS arg_DEPENDS)
    target_include_directories(${target} PUBLIC
      "$<TARGET_PROPERTY:passel_${layer},INTERFACE_INCLUDE_DIRECTORIES>")
  endforeach()
  list(TRANSFORM arg_HEADERS PREPEND "${CMAKE_CURRENT_SOURCE_DIR}/include/passel/")
  set_property(GLOBAL APPEND PROPERTY PASSEL_LAYERS ${name})
  set_property(GLOBAL APPEND PROPERTY PASSEL_HEADERS ${arg_HEADERS})
  set_property(GLOBAL APPEND PROPERTY PASSEL_HEADER_DIRS "${CMAKE_CURRENT_SOURCE_DIR}/include")
  set_property(GLOBAL APPEND PROPERTY PASSEL_LINK ${arg_LINK})
endfunction()
