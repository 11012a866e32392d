# Install rules and the files by which other projects find the library: a CMake package and a pkg-config file.
#
# passel_install(TARGET [COMPONENT name]): headers and development files are in the component `devel`, the library itself
# in `runtime`. With COMPONENT everything goes into that one component, which the plain `cmake --install` leaves out.

include(CMakePackageConfigHelpers)

# What a static libpassel needs at link time, once for CMake and once for pkg-config.
function(passel_describe_dependencies)
  get_property(link GLOBAL PROPERTY PASSEL_LINK)
  list(REMOVE_DUPLICATES link)
  set(packages "")
  set(requires "")
  set(libs "-pthread")
  foreach(target IN LISTS link)
    string(REGEX REPLACE "::.*" "" package "${target}")
    list(APPEND packages "${package}")
    if(target STREQUAL "CAF::core")
      string(APPEND libs " -lcaf_core")  # libcaf-dev has no pkg-config file
    elseif(target MATCHES "^OpenSSL::")
      string(TOLOWER "${target}" module)
      string(REPLACE "openssl::" "lib" module "${module}")
      list(APPEND requires "${module}")
    else()
      string(REGEX REPLACE ".*::" "" module "${target}")
      list(APPEND requires "${module}")
    endif()
  endforeach()
  list(REMOVE_DUPLICATES packages)
  set(calls "")
  foreach(package IN LISTS packages)
    string(APPEND calls "  find_dependency(${package})\n")
  endforeach()
  list(JOIN requires ", " requires)
  set(PASSEL_FIND_DEPENDENCIES "${calls}" PARENT_SCOPE)
  set(PASSEL_PC_REQUIRES "${requires}" PARENT_SCOPE)
  set(PASSEL_PC_LIBS "${libs}" PARENT_SCOPE)
endfunction()

function(passel_install target)
  cmake_parse_arguments(arg "" "COMPONENT" "" ${ARGN})
  if(arg_COMPONENT)
    set(runtime COMPONENT ${arg_COMPONENT} EXCLUDE_FROM_ALL)
    set(runtime_namelink COMPONENT ${arg_COMPONENT} NAMELINK_COMPONENT ${arg_COMPONENT} EXCLUDE_FROM_ALL)
    set(devel ${runtime})
  else()
    set(runtime COMPONENT runtime)
    set(runtime_namelink COMPONENT runtime NAMELINK_COMPONENT devel)
    set(devel COMPONENT devel)
  endif()
  set(package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/passel")
  set(work "${PROJECT_BINARY_DIR}/package/${target}")

  get_target_property(type ${target} TYPE)
  set(PASSEL_STATIC_LIBRARY OFF)
  if(type STREQUAL "STATIC_LIBRARY")
    set(PASSEL_STATIC_LIBRARY ON)
  endif()
  passel_describe_dependencies()
  foreach(dir IN ITEMS LIBDIR INCLUDEDIR)
    cmake_path(IS_ABSOLUTE CMAKE_INSTALL_${dir} absolute)
    if(absolute)
      set(PASSEL_PC_${dir} "${CMAKE_INSTALL_${dir}}")
    else()
      set(PASSEL_PC_${dir} "\${prefix}/${CMAKE_INSTALL_${dir}}")
    endif()
  endforeach()

  # pcfiledir makes the file right wherever the prefix ends up; it climbs from <libdir>/pkgconfig.
  file(RELATIVE_PATH PASSEL_PC_PREFIX "/p/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/p")
  configure_file("${PROJECT_SOURCE_DIR}/tools/cmake/passel.pc.in" "${work}/passel.pc" @ONLY)
  configure_package_config_file("${PROJECT_SOURCE_DIR}/tools/cmake/passelConfig.cmake.in"
    "${work}/passelConfig.cmake" INSTALL_DESTINATION "${package_dir}")
  write_basic_package_version_file("${work}/passelConfigVersion.cmake"
    VERSION ${PROJECT_VERSION} COMPATIBILITY SameMinorVersion)

  install(TARGETS ${target} EXPORT ${target}Targets
    RUNTIME ${runtime}
    ARCHIVE ${devel}
    LIBRARY ${runtime_namelink}
    FILE_SET HEADERS ${devel})
  install(EXPORT ${target}Targets FILE passelTargets.cmake NAMESPACE passel::
    DESTINATION "${package_dir}" ${devel})
  install(FILES "${work}/passelConfig.cmake" "${work}/passelConfigVersion.cmake"
    "${PROJECT_SOURCE_DIR}/tools/cmake/FindCAF.cmake" DESTINATION "${package_dir}" ${devel})
  install(FILES "${work}/passel.pc" DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig" ${devel})
endfunction()

passel_install(passel)

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_CONTACT "passel contributors")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "${PROJECT_DESCRIPTION}")
set(CPACK_RESOURCE_FILE_LICENSE "${PROJECT_SOURCE_DIR}/LICENSE")
set(CPACK_COMPONENTS_ALL runtime devel)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_RUNTIME_PACKAGE_NAME "libpassel${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR}")
set(CPACK_DEBIAN_DEVEL_PACKAGE_NAME libpassel-dev)
set(CPACK_DEBIAN_DEVEL_PACKAGE_DEPENDS "${CPACK_DEBIAN_RUNTIME_PACKAGE_NAME} (= ${PROJECT_VERSION})")
include(CPack)
