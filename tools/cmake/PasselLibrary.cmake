# The one library that users link: the objects of all layers, all public headers in one flat <passel/...>.

get_property(_layers GLOBAL PROPERTY PASSEL_LAYERS)
get_property(_headers GLOBAL PROPERTY PASSEL_HEADERS)
get_property(_header_dirs GLOBAL PROPERTY PASSEL_HEADER_DIRS)
get_property(_link GLOBAL PROPERTY PASSEL_LINK)
list(REMOVE_DUPLICATES _link)

add_library(passel)
add_library(passel::passel ALIAS passel)
foreach(_layer IN LISTS _layers)
  target_sources(passel PRIVATE "$<TARGET_OBJECTS:passel_${_layer}>")
endforeach()
target_sources(passel PUBLIC FILE_SET HEADERS BASE_DIRS ${_header_dirs} FILES ${_headers})
target_compile_features(passel PUBLIC cxx_std_20)
target_link_libraries(passel PRIVATE Threads::Threads ${_link} ${CMAKE_DL_LIBS})
if(PASSEL_SANITIZE)
  target_link_options(passel PRIVATE -fsanitize=${PASSEL_SANITIZE})
endif()
set_target_properties(passel PROPERTIES
  LINKER_LANGUAGE CXX
  VERSION ${PROJECT_VERSION}
  SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR}
  VERIFY_INTERFACE_HEADER_SETS ON)
