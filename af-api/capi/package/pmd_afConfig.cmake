# Targets: pmd_af::pmd_af (shared), pmd_af::pmd_af_static. Programs for StepMesh link the same ones.
get_filename_component(_pmd_af_prefix "${CMAKE_CURRENT_LIST_DIR}/../../.." ABSOLUTE)

if(NOT TARGET pmd_af::pmd_af)
  add_library(pmd_af::pmd_af SHARED IMPORTED)
  set_target_properties(pmd_af::pmd_af PROPERTIES
    IMPORTED_LOCATION "${_pmd_af_prefix}/lib/libpmd_af.so"
    INTERFACE_INCLUDE_DIRECTORIES "${_pmd_af_prefix}/include")
endif()

if(NOT TARGET pmd_af::pmd_af_static)
  find_package(Threads REQUIRED)
  add_library(pmd_af::pmd_af_static STATIC IMPORTED)
  set_target_properties(pmd_af::pmd_af_static PROPERTIES
    IMPORTED_LOCATION "${_pmd_af_prefix}/lib/libpmd_af.a"
    INTERFACE_INCLUDE_DIRECTORIES "${_pmd_af_prefix}/include"
    INTERFACE_LINK_LIBRARIES "Threads::Threads;dl;rt;m;gcc_s")
endif()

unset(_pmd_af_prefix)
