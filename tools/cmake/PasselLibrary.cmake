# The one library that users link: the objects of all layers, all public headers in one flat <passel/...>.
#
# passel_add_library(TARGET [SHARED|STATIC]) makes such a library. `passel` follows BUILD_SHARED_LIBS; the consumer tests
# make a second one of the other kind from the same objects.

function(passel_add_library target)
  get_property(layers GLOBAL PROPERTY PASSEL_LAYERS)
  get_property(headers GLOBAL PROPERTY PASSEL_HEADERS)
  get_property(header_dirs GLOBAL PROPERTY PASSEL_HEADER_DIRS)
  get_property(link GLOBAL PROPERTY PASSEL_LINK)
  list(REMOVE_DUPLICATES link)

  add_library(${target} ${ARGN})
  foreach(layer IN LISTS layers)
    target_sources(${target} PRIVATE "$<TARGET_OBJECTS:passel_${layer}>")
  endforeach()
  target_sources(${target} PUBLIC FILE_SET HEADERS BASE_DIRS ${header_dirs} FILES ${headers})
  target_compile_features(${target} PUBLIC cxx_std_20)
  target_link_libraries(${target} PRIVATE Threads::Threads ${link} ${CMAKE_DL_LIBS})
  if(PASSEL_SANITIZE)
    target_link_options(${target} PRIVATE -fsanitize=${PASSEL_SANITIZE})
  endif()
  set_target_properties(${target} PROPERTIES
    LINKER_LANGUAGE CXX
    OUTPUT_NAME passel
    EXPORT_NAME passel
    VERSION ${PROJECT_VERSION}
    SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR})
endfunction()

passel_add_library(passel)
add_library(passel::passel ALIAS passel)
set_target_properties(passel PROPERTIES VERIFY_INTERFACE_HEADER_SETS ON)
