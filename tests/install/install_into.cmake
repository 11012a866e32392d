# cmake -DBUILD=... -DPREFIX=... [-DCOMPONENT=...] -P install_into.cmake: a fresh installation.
cmake_minimum_required(VERSION 3.25)
file(REMOVE_RECURSE "${PREFIX}")
set(command "${CMAKE_COMMAND}" --install "${BUILD}" --prefix "${PREFIX}")
if(COMPONENT)
  list(APPEND command --component "${COMPONENT}")
endif()
execute_process(COMMAND ${command} COMMAND_ERROR_IS_FATAL ANY)
