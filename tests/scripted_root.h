// A temporary folder that stands in for the root of a machine: /proc, /sys and /run as a test
// writes them. Removed with the object.
#pragma once

#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>

namespace assay {

class ScriptedRoot {
 public:
  ScriptedRoot() {
    std::string name = (std::filesystem::temp_directory_path() / "assay-root-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("no temporary folder");
    path_ = name;
  }
  ~ScriptedRoot() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  ScriptedRoot(const ScriptedRoot&) = delete;
  ScriptedRoot& operator=(const ScriptedRoot&) = delete;

  std::string Path() const { return path_.string(); }

  void Write(const std::string& file, const std::string& text) const {
    std::filesystem::create_directories((path_ / file).parent_path());
    std::ofstream(path_ / file) << text;
  }

  // `link` points to the folder `target`, both below this root.
  void Link(const std::string& link, const std::string& target) const {
    std::filesystem::create_directories(path_ / target);
    std::filesystem::create_directories((path_ / link).parent_path());
    std::filesystem::create_symlink(path_ / target, path_ / link);
  }

 private:
  std::filesystem::path path_ = {};
};

}  // namespace assay
