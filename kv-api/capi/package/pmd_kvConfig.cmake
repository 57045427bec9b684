# Targets: pmd_kv::pmd_kv (shared), pmd_kv::pmd_kv_static. Programs for LLM-DataDist and HIXL link the same ones.
get_filename_component(_pmd_kv_prefix "${CMAKE_CURRENT_LIST_DIR}/../../.." ABSOLUTE)

if(NOT TARGET pmd_kv::pmd_kv)
  add_library(pmd_kv::pmd_kv SHARED IMPORTED)
  set_target_properties(pmd_kv::pmd_kv PROPERTIES
    IMPORTED_LOCATION "${_pmd_kv_prefix}/lib/libpmd_kv.so"
    INTERFACE_INCLUDE_DIRECTORIES "${_pmd_kv_prefix}/include")
endif()

if(NOT TARGET pmd_kv::pmd_kv_static)
  find_package(Threads REQUIRED)
  add_library(pmd_kv::pmd_kv_static STATIC IMPORTED)
  set_target_properties(pmd_kv::pmd_kv_static PROPERTIES
    IMPORTED_LOCATION "${_pmd_kv_prefix}/lib/libpmd_kv.a"
    INTERFACE_INCLUDE_DIRECTORIES "${_pmd_kv_prefix}/include"
    INTERFACE_LINK_LIBRARIES "Threads::Threads;dl;rt;m;gcc_s")
endif()

unset(_pmd_kv_prefix)
