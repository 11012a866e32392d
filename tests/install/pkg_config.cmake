# cmake -DPREFIX=... -DKIND=shared|static -DSOURCE=... -DCXX=... -DWORK=... -P pkg_config.cmake: a user without CMake.
file(GLOB_RECURSE pc "${PREFIX}/*/passel.pc")
if(NOT pc)
  message(FATAL_ERROR "no passel.pc under ${PREFIX}")
endif()
cmake_path(GET pc PARENT_PATH pc_dir)
cmake_path(GET pc_dir PARENT_PATH lib_dir)
set(ENV{PKG_CONFIG_PATH} "${pc_dir}")
set(static "")
if(KIND STREQUAL "static")
  set(static --static)
endif()
execute_process(COMMAND pkg-config ${static} --cflags --libs passel
  OUTPUT_VARIABLE flags OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
separate_arguments(flags UNIX_COMMAND "${flags}")
file(MAKE_DIRECTORY "${WORK}")
execute_process(COMMAND "${CXX}" -std=c++20 "${SOURCE}" -o "${WORK}/consumer" ${flags}
  "-Wl,-rpath,${lib_dir}" COMMAND_ERROR_IS_FATAL ANY COMMAND_ECHO STDOUT)
execute_process(COMMAND "${WORK}/consumer" COMMAND_ERROR_IS_FATAL ANY)
